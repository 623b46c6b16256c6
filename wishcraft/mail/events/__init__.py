"""What mail providers tell of mails that were sent: verification, and reading as `domain.mail_events.MailEvent`."""
