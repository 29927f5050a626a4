"""The command line; the only part of caffenorm that prints."""
