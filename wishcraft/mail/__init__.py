"""The mail room: what a mail says, and how it leaves. Whom to write to, and when, is decided elsewhere."""
