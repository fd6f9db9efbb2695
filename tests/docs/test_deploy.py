"""docs/deploy.md's check of a deployment, through a gateway that checks signatures."""

import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

from local import Gateway, Local, blocks, environment


class Deploy(unittest.TestCase):
    def test_the_check(self):
        """The transcript's commands print what it shows. `aws` prints what the stacks would: URLs, no alarm."""
        (session,) = blocks("docs/deploy.md", "console")
        script = "".join(block for block in blocks("docs/deploy.md", "bash") if re.search("AWS_DEFAULT_REGION|describe-stacks", block))
        for command in re.findall(r"^\$ (.+)\n", session, flags=re.MULTILINE):
            # A response doesn't end in a line break, but the transcript's lines do.
            command_line = command if re.match(r"\w+=", command) else f"{command} | sed -e '$a\\'"
            script += f"echo {shlex.quote(f'$ {command}')}\n{command_line}\n"
        with Local(sample=False) as local, Gateway(local) as gateway, tempfile.TemporaryDirectory() as folder:
            aws = pathlib.Path(folder, "aws")
            aws.write_text(
                "#!/bin/sh\ncase \"$*\" in\n"
                f"  *gaia-api-keys*ApiUrl*) echo http://{gateway.address} ;;\n"
                f"  *protected-api*HttpApiUrl*) echo http://{local.address}/demo ;;\n"
                "  *describe-alarms*) echo '[]' ;;\nesac\n"
            )
            aws.chmod(0o755)
            env = environment("nowhere", PATH=f"{folder}:{os.environ['PATH']}")
            del env["API"]
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, capture_output=True, text=True, timeout=60)
            self.assertEqual(local.list(), {})
        ids = lambda text: re.sub(r"gaia_\w{26}", "ID", text)
        self.assertEqual((ids(done.stdout), done.stderr), (ids(session), ""))


if __name__ == "__main__":
    unittest.main()
