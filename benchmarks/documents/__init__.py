"""What README, model card and docs/ show of results/, written anew by one command."""
