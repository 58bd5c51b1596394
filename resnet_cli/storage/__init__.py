"""What is kept on disk: a run's folder, and the results folder that holds them."""
