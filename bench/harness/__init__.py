"""What bench/compare and bench/durability share: brokers, runs, tables, plot."""
