"""Device families: each folder decodes one family of campus devices and says how it wants to be acknowledged."""
