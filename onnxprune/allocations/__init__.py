"""How many weights each tensor gives: one file per allocation."""
