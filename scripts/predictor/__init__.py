"""Parts of fit_predictor.py and check_unseen.py: what the trees are fitted to, and how they are written."""
