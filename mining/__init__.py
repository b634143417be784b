"""Mining: from captures and videos to crops, identities and scored pairs in the catalog."""
