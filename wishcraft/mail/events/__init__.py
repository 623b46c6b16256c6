"""What mail providers report about mails that were sent: verified, and read as `domain.mail_events.MailEvent`."""
