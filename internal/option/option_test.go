package option

import (
	"strconv"
	"testing"
	"time"
)

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		got  error
		want string
	}{
		{Positive("a", time.Second), ""},
		{Positive("a", time.Duration(0)), "a: must be greater than 0, got 0s"},
		{Positive("a", -time.Second), "a: must be greater than 0, got -1s"},
		{AtLeast("b", 1, 1), ""},
		{AtLeast("b", 0, 1), "b: must be at least 1, got 0"},
		{OneOf("c", "x", "x", "y"), ""},
		{OneOf("c", "z", "x", "y"), `c: must be x or y, got "z"`},
		{OneOf("c", "", "x", "y", "z"), `c: must be x, y or z, got ""`},
	} {
		got := ""
		if tt.got != nil {
			got = tt.got.Error()
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestPrefix(t *testing.T) {
	for value, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "192.0.2.7": "192.0.2.7/32", "2001:db8::/32": "2001:db8::/32", "::/0": "::/0",
		"::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:192.0.2.7": "192.0.2.7/32", "::ffff:0:0/96": "0.0.0.0/0",
		"::ffff:0:0/95": "", "office": "", "": "", "10.0.0.0/33": "", "10.0.0.1:80": "",
	} {
		got, err := Prefix("allow", value)
		switch {
		case want == "":
			if rule := "allow: must be IP addresses or ranges such as 10.0.0.0/8, got " + strconv.Quote(value); err == nil || err.Error() != rule {
				t.Errorf("%q: got %v, want %s", value, err, rule)
			}
		case err != nil || got.String() != want:
			t.Errorf("%q: got %v %v, want %s", value, got, err, want)
		}
	}
}

func TestDefault(t *testing.T) {
	set, unset := 3, 0
	Default(&set, 7)
	Default(&unset, 7)
	if set != 3 || unset != 7 {
		t.Errorf("got %d and %d, want 3 and 7", set, unset)
	}
}
