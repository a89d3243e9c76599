// Package redistest gives tests a real redis-server on a free loopback port.
//
// Shared returns one server for the whole test process; tests keep apart by Namespace. Start returns a server of one test's own, which the
// test may kill, stop, pause and restart, keep busy, fill, make read-only and, with FakeClock, put in another time. ProxyTo puts a breakable
// network in front of it. StartCluster returns a Redis Cluster, StartSentinel a primary and a replica that change roles. The program is
// $REDIS_SERVER, else redis-server from PATH; without one the test fails and says how to install it.
//
// A server ends with its test, the shared one with the process: on Linux the kernel kills it even when the test process is killed;
// elsewhere (and for goleak, everywhere) end it in TestMain:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }
//
// A single test that looks for leaks passes goleak.IgnoreCurrent(), taken after its call of Shared.
//
// Call Start, Shared, ProxyTo, StartCluster and StartSentinel outside a testing/synctest bubble (a server is waited for by a goroutine that never blocks durably);
// Client and Namespace may be called inside.
//
// The package never empties a database, never uses a port outside loopback, and is imported by tests only.
package redistest
