"""What is said to the server and what it answers: HTTP, worker threads, and the answers as checked values. No MRML."""
