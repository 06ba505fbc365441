"""Activities: adapters that unpack a contract, call the library and return a contract."""
