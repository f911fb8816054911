"""What runs functions: the port to executors."""
