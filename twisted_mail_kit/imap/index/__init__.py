"""An index that tells SEARCH which messages cannot hold a text, so that it need not read them."""
