// Perdure serves durable objects and the calendar worker that is built on them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// program is the command line.
type program struct {
	Serve   serveCmd   `cmd:"" help:"Serve durable objects and calendars over HTTP." set:"folder=${local}, made if need be"`
	Stdio   stdioCmd   `cmd:"" help:"Serve calendars to one MCP client on standard input and output." set:"folder=${local} if it is here, else ${own}, made if need be"`
	Cluster clusterCmd `cmd:"" help:"Look at the nodes that serve the same databases, and drain one."`
	Users   usersCmd   `cmd:"" help:"Add, list and remove users." set:"folder=${local} if it is here, else ${own} if that exists, else ${local}"`
	Login   loginCmd   `cmd:"" help:"Log in to a Nextcloud." set:"folder=${local} if it is here, else ${own} if that exists, else ${local}"`
	Logout  logoutCmd  `cmd:"" help:"Undo a login, and give its app password back to the Nextcloud." set:"folder=${local} if it is here, else ${own} if that exists"`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// environment is what a command sees of the process.
type environment struct {
	ctx            context.Context // ends at SIGTERM or SIGINT
	getenv         func(string) (string, bool)
	environ        func() []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(os.Args[1:], &environment{ctx: ctx, getenv: os.LookupEnv, environ: os.Environ, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// run executes one command line and returns the exit status: 0, 1 if the command
// failed, 2 if the command line is wrong.
func run(args []string, env *environment) int {
	exit := -1
	parser, err := kong.New(&program{},
		kong.Name("perdure"),
		kong.Description("Durable Objects for Go, and a calendar worker on them."),
		kong.UsageOnError(),
		kong.Writers(env.stdout, env.stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.Bind(env),
		folderNames(env),
	)
	if err != nil {
		fmt.Fprintln(env.stderr, "perdure:", err)
		return 2
	}
	command, err := parser.Parse(usual(args))
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintln(env.stderr, "perdure:", misread(err))
		return 2
	}
	if err := command.Run(); err != nil {
		fmt.Fprintln(env.stderr, "perdure:", err)
		var usage usageError
		if errors.As(err, &usage) {
			return 2
		}
		return 1
	}
	return 0
}

// usual returns what people try first as the parser knows it.
func usual(args []string) []string {
	switch {
	case len(args) > 1 && args[0] == "help" && args[1] == "help":
		return usual(args[1:])
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return args
}

// misread says what the parser did not understand, and what there is in its place.
func misread(err error) string {
	text, at := err.Error(), "perdure"
	var commands []string
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		for _, p := range wrong.Context.Path {
			if n := p.Node(); n != nil { // a command, and not one of its arguments
				at, commands = n.FullPath(), commandNames(n)
			}
		}
	}
	if len(commands) == 0 {
		return fmt.Sprintf("%s (%s --help lists arguments and flags)", text, at)
	}
	if rest, ok := strings.CutPrefix(text, "unexpected argument "); ok {
		text = "unknown command " + rest
	} else if strings.HasPrefix(text, "expected one of ") { // the first few
		text = "a command is missing"
	}
	return fmt.Sprintf("%s (commands: %s; %s --help lists commands and flags)", text, strings.Join(commands, ", "), at)
}

func commandNames(n *kong.Node) []string {
	var all []string
	for _, c := range n.Children {
		all = append(all, c.Name)
	}
	return all
}

// usageError is a command line that says something impossible.
type usageError string

func (e usageError) Error() string { return string(e) }

type versionCmd struct{}

func (versionCmd) Run(env *environment) error {
	_, err := fmt.Fprintln(env.stdout, "perdure", version())
	return err
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
