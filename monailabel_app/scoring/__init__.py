"""What methods say of whole studies: kept beside them, and computed in the background."""
