// Package cluster holds benchmarks and no code: nodes in processes of their own, a real
// PostgreSQL and real connections, all on one machine.
//
//	go test -run '^$' -bench . -benchtime 1x ./bench/cluster
package cluster
