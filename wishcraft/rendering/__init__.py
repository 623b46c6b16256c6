"""Rendering of mails, pages and reports: templates, translations, and the pages behind links of mails."""
