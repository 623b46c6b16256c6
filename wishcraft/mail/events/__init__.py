"""Events of mail providers about sent mails: verified, and read as `domain.mail_events.MailEvent`."""
