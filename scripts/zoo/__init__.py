"""The zoo: public models, and what they ask of convolutions."""
