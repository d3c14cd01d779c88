package main

import (
	"errors"
	"io/fs"
	"syscall"
)

// wsaeconnrefused is WSAECONNREFUSED.
const wsaeconnrefused = syscall.Errno(10061)

// refused says whether a socket is there that nobody listens on, or was there just now.
func refused(err error) bool {
	return errors.Is(err, wsaeconnrefused) || errors.Is(err, fs.ErrNotExist)
}
