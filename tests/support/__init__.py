"""What the tests stand on: real PostgreSQL servers, real SSH hosts and the command line as a process."""
