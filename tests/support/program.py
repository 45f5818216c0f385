"""A client program, called like a function."""

from support.tools import check, run


class Program:
    """A client with its environment: called like a function with its arguments."""

    def __init__(self, *command, env, cwd=None):
        self.command, self.env, self.cwd = command, env, cwd

    def __call__(self, *arguments, **options):
        """Runs it. It must succeed; its output is returned."""
        return check(
            *self.command, *arguments, env=self.env, cwd=options.pop("cwd", self.cwd), **options
        )

    def fails(self, *arguments, **options):
        """Runs it. It must fail; what it wrote is returned."""
        done = run(
            *self.command, *arguments, env=self.env, cwd=options.pop("cwd", self.cwd), **options
        )
        assert done.returncode != 0, f"{arguments} did not fail:\n{done.stdout}"
        return done.stdout + done.stderr
