// step-ca, as far as the tests need it: Debian ships Smallstep's CA as a library only. This is the
// command that starts the server, with the software keys and the CA of its own that it has by default.
package main

import (
	"log"
	"os"

	"github.com/smallstep/certificates/authority"
	_ "github.com/smallstep/certificates/cas/softcas"
	"github.com/smallstep/certificates/commands"
	"github.com/smallstep/cli-utils/step"
	"github.com/urfave/cli"
	_ "go.step.sm/crypto/kms/softkms"
)

// The version of the library; set by the linker.
var version = "unknown"

func main() {
	log.SetFlags(0)
	step.Set("Smallstep CA", version, "N/A")
	authority.GlobalVersion.Version = version
	if err := step.Init(); err != nil {
		log.Fatal(err)
	}
	app := cli.NewApp()
	app.Name = "step-ca"
	app.Version = version
	app.Flags = commands.AppCommand.Flags
	app.Action = commands.AppCommand.Action
	if err := app.Run(os.Args); err != nil {
		log.Fatal(err)
	}
}
