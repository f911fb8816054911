"""What delivers webhooks: which targets they may have."""
