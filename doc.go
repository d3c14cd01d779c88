// Package perdure is the root of the module; it holds no code. The library is
// package [github.com/perdure/perdure/durable], the program is
// github.com/perdure/perdure/cmd/perdure.
package perdure
