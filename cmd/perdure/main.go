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
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// program is the command line.
type program struct {
	Serve   serveCmd   `cmd:"" help:"Serve durable objects and calendars over HTTP."`
	Stdio   stdioCmd   `cmd:"" help:"Serve calendars to one MCP client on standard input and output."`
	Cluster clusterCmd `cmd:"" help:"Look at the nodes that serve the same databases, and drain one."`
	Users   usersCmd   `cmd:"" help:"Add, list and remove users."`
	Login   loginCmd   `cmd:"" help:"Log in to a Nextcloud."`
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
	)
	if err != nil {
		fmt.Fprintln(env.stderr, "perdure:", err)
		return 2
	}
	switch strings.Join(args, " ") { // what people try first
	case "help":
		args = []string{"--help"}
	case "--version":
		args = []string{"version"}
	}
	command, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintf(env.stderr, "perdure: %v (perdure --help lists commands and flags)\n", err)
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
