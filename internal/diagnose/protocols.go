package diagnose

import (
	"bytes"

	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// beginHTTP is how every answer of HTTP/1 begins.
const beginHTTP = "HTTP/"

func isHTTP(said []byte) bool { return bytes.HasPrefix(said, []byte(beginHTTP)) }

// isTLSAlert recognizes the record with which a TLS server says that it did not
// understand.
func isTLSAlert(said []byte) bool { return len(said) >= 2 && said[0] == 0x15 && said[1] == 3 }

// isTLSHandshake recognizes the record with which a TLS server answers a hello.
func isTLSHandshake(said []byte) bool { return len(said) > 0 && said[0] == 0x16 }

// frameHead is the length of an HTTP/2 frame header, in bytes.
const frameHead = 9

// isSettings recognizes the frame with which each side of HTTP/2 begins: type 4 on
// stream 0, and six bytes for each setting.
func isSettings(said []byte) bool {
	return len(said) >= frameHead && said[0] == 0 && said[1] == 0 && said[2]%6 == 0 &&
		bytes.Equal(said[3:frameHead], []byte{4, 0, 0, 0, 0, 0})
}

// banners are how servers of other protocols begin, or how they answer a request that
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

// portOwners are the protocols that usually own a port. Their servers close the
// connection, or hang, when they get HTTP, so the port is the only clue.
var portOwners = map[uint16]string{
	22: "SSH", 25: "mail", 3306: "MySQL", 5432: "PostgreSQL", 5672: "AMQP", 6379: "Redis",
	9000: "PHP-FPM, which wants php_fastcgi instead of reverse_proxy", 11211: "memcached", 27017: "MongoDB",
}

// quote returns the beginning of what a server said, in quotes, as far as it can be shown.
func quote(said []byte) string {
	const most = 61
	return `"` + plain.Short(string(bytes.TrimSpace(said)), '·', most) + `"`
}
