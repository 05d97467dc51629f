"""The values of mail: plain facts that need nothing but the standard library."""
