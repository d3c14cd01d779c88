//go:build !windows

package main

import (
	"errors"
	"syscall"
)

// refused says whether a socket is there that nobody listens on, or was there just now.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
