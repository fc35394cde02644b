"""What the tests share: small worlds with real parts, and the data that run in them."""
