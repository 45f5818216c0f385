"""What the tests share: a server to test, images to push, and the two ways to reach it."""
