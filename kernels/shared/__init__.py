"""What two or more kernel families use: geometry, tiles, packing, precision, weight layouts."""
