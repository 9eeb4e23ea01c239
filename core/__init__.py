"""The domain: everything between a message that names an Item and the rows that its bank reported."""
