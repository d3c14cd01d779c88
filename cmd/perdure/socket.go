package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// socketName is that of the socket in the data folder.
const socketName = "control.sock"

// maxSocketPath is what fits into a socket's address everywhere: 104 bytes with a final
// zero on macOS, 108 on Linux.
const maxSocketPath = 103

// listenSocket listens on the socket of a folder whose lock the caller holds. What an
// earlier process left there is replaced.
//
// Only the owner can connect, at no moment anybody else: the socket is made in a folder
// that is closed to others, and moved when its mode is set.
func listenSocket(dir string) (_ net.Listener, err error) {
	short, done, err := shortDir(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer done()
	closed, err := os.MkdirTemp(short, ".s")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer os.RemoveAll(closed)
	made := filepath.Join(closed, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // its name changes
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, filepath.Join(dir, socketName))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// dialSocket connects to the process that listens in a folder. An error that is
// errNobody says that none does.
func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	short, done, err := shortDir(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer done()
	path := filepath.Join(short, socketName)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNobody
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("control socket: %s is not a socket that only its owner can use (mode %v)", filepath.Join(dir, socketName), info.Mode())
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil && ctx.Err() == nil && refused(err) {
		return nil, errNobody
	}
	return conn, err
}

// errNobody: no process listens in the folder.
var errNobody = errors.New("control socket: nobody listens")

// shortDir returns a path of a folder that is short enough for the sockets in it: a link
// in the folder for temporary files, if need be, until done is called.
func shortDir(dir string) (short string, done func(), err error) {
	const longest = len("/.s1234567890/s") // names inside, see listenSocket
	if len(dir)+longest <= maxSocketPath {
		return dir, func() {}, nil
	}
	target, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	temp, err := os.MkdirTemp("", "perdure")
	if err != nil {
		return "", nil, err
	}
	done = func() { os.RemoveAll(temp) }
	short = filepath.Join(temp, "d")
	if err := os.Symlink(target, short); err != nil {
		done()
		return "", nil, err
	}
	if len(short)+longest > maxSocketPath {
		done()
		return "", nil, fmt.Errorf("the path of the data folder is too long for a socket, and that of temporary files too: %s", temp)
	}
	return short, done, nil
}
