"""How reports are shown: terminal, text, JSON, Markdown, HTML."""
