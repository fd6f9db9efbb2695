"""The protected APIs of examples/cdk, deployed beside the keys' stack."""

import json
import pathlib
import shutil
import sys
import tempfile
import unittest

import deployment
from deployment import ROOT, Stack
from protected import APIS, Case

sys.path.append(str(ROOT / "tests/cdk"))
from test_cdk import API, APP, synth


@unittest.skipUnless(shutil.which("npx") and (APP / "node_modules").exists(), "run npm ci in examples/cdk first")
class Cdk(Case):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        template = json.loads(synth(folder, artifact=deployment.BINARY.parent)[API])
        # The CDK's own check asks SSM for the version of its bootstrap stack.
        del template["Parameters"]["BootstrapVersion"], template["Rules"]
        cls.protected = Stack("cdk", json.dumps(template), cls.keys.emulator)

    def test_keys_open_what_they_may(self):
        read, other = self.create(permissions="read"), self.create(routes=["POST /items"])
        for api in APIS:
            with self.subTest(api):
                self.assertEqual(self.ask(api, read).expect(200)["key_id"], read[:31])
                found = [self.status(api, key, method) for key in (read, other, "none") for method in ("GET", "POST")]
                self.assertEqual(found, [200, 403, 403, 200, 403, 403])


if __name__ == "__main__":
    unittest.main()
