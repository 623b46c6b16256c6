"""What mails, pages and reports are rendered with: templates, translations, and the pages behind links of mails."""
