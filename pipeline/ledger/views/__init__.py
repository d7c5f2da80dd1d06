"""What people and other tools read of a ledger: one flat row a trial, filters, pages of text, plain tables."""
