"""What became of mails: receipt of providers' events, and what follows from them."""
