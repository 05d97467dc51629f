"""How a connection to another mail server is protected: MTA-STS, DANE, certificates."""
