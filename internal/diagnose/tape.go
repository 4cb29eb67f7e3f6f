package diagnose

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"sync"

	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// maxHeard is how much of what the other side says first is kept, in bytes.
const maxHeard = 512

// errUnwanted is what reading what was not wanted fails with.
var errUnwanted = errors.New("something else than HTTP")

// tape is a connection that keeps what the other side says first: Go's clients
// tell in their errors only that it was not what they expected.
//
// It does not listen before it has spoken, since net/http writes to the log of
// the process when a server speaks first.
type tape struct {
	net.Conn
	// spoken is closed when something was written, or the connection is closed.
	spoken chan struct{}
	speak  func()
	// wanted is how what is said has to begin. Anything else is an error at
	// once: a parser would wait for the end of a line that may never come.
	wanted string

	// mu guards what follows: transports read in goroutines of their own.
	mu    sync.Mutex
	first []byte
}

func newTape(conn net.Conn) *tape {
	spoken := make(chan struct{})
	return &tape{Conn: conn, spoken: spoken, speak: sync.OnceFunc(func() { close(spoken) })}
}

// Write writes, and lets Read go on.
func (t *tape) Write(b []byte) (int, error) {
	defer t.speak()
	return t.Conn.Write(b)
}

// Close closes, and lets Read go on.
func (t *tape) Close() error {
	defer t.speak()
	return t.Conn.Close()
}

// Read reads, and keeps the beginning.
func (t *tape) Read(b []byte) (int, error) {
	<-t.spoken
	n, err := t.Conn.Read(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first = append(t.first, b[:min(n, maxHeard-len(t.first))]...)
	if known := min(len(t.first), len(t.wanted)); string(t.first[:known]) != t.wanted[:known] {
		return 0, errUnwanted
	}
	return n, err
}

// heard is what the other side said first.
func (t *tape) heard() []byte {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.first)
}

// beginHTTP is how every answer of HTTP/1 begins.
const beginHTTP = "HTTP/"

func isHTTP(said []byte) bool { return bytes.HasPrefix(said, []byte(beginHTTP)) }

// isTLSAlert knows the record in which a TLS server says that it did not
// understand.
func isTLSAlert(said []byte) bool { return len(said) >= 2 && said[0] == 0x15 && said[1] == 3 }

// frameHead is the length of the head of a frame of HTTP/2, in bytes.
const frameHead = 9

// isSettings knows the frame with which each side of HTTP/2 begins: type 4 on
// stream 0, and six bytes for each setting.
func isSettings(said []byte) bool {
	return len(said) >= frameHead && said[0] == 0 && said[1] == 0 && said[2]%6 == 0 &&
		bytes.Equal(said[3:frameHead], []byte{4, 0, 0, 0, 0, 0})
}

// banners are how servers of other protocols begin, or answer a request that
// they do not understand.
var banners = [...]struct{ begins, holds, protocol string }{
	{"SSH-", "", "SSH"},
	{"220 ", "", "a mail or FTP protocol"},
	{"220-", "", "a mail or FTP protocol"},
	{"* OK", "", "IMAP"},
	{"+OK", "", "POP3"},
	{"-ERR", "", "the protocol of Redis"},
	{"-DENIED", "", "the protocol of Redis"},
	{"E\x00\x00", "FATAL", "the protocol of PostgreSQL"},
	{"", "mysql_native_password", "the protocol of MySQL"},
	{"", "caching_sha2_password", "the protocol of MySQL"},
	{"AMQP", "", "AMQP"},
	{"INFO {", "", "the protocol of NATS"},
	{"RFB ", "", "VNC"},
}

func protocolOf(said []byte) string {
	for _, b := range banners {
		if bytes.HasPrefix(said, []byte(b.begins)) && bytes.Contains(said, []byte(b.holds)) {
			return b.protocol
		}
	}
	return ""
}

// portOwners are known by their ports, because they close or hang when they
// are spoken to in HTTP.
var portOwners = map[uint16]string{
	22: "SSH", 25: "mail", 3306: "MySQL", 5432: "PostgreSQL", 5672: "AMQP", 6379: "Redis",
	9000: "PHP-FPM, which wants php_fastcgi instead of reverse_proxy", 11211: "memcached", 27017: "MongoDB",
}

// quote is the beginning of what was said, as far as it can be shown.
func quote(said []byte) string {
	const most = 61
	return `"` + plain.Short(string(bytes.TrimSpace(said)), '·', most) + `"`
}
