// Package livetest holds a test and no code: three processes of a small program, a
// real PostgreSQL and real connections, which the test kills, stops and cuts while
// clients write down what they are told. The histories are checked for linearizability.
//
// go test ./cluster/livetest runs for a minute or two, with -short for less;
// PERDURE_LIVETEST=10m has it run for longer.
package livetest
