package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// securityProps are the client properties about TLS and SASL. Stores are PEM
// (ssl.truststore.type=PEM and so on); Java's binary formats are not read.
type securityProps struct {
	tls, sasl    bool
	mechanism    string
	user, pass   string
	trustFile    string
	trustPEM     string
	keyFile      string // certificate chain and private key in one PEM file
	certPEM      string
	keyPEM       string
	skipHostname bool
}

func (s *securityProps) setProtocol(value string) error {
	switch strings.ToUpper(value) {
	case "PLAINTEXT":
	case "SSL":
		s.tls = true
	case "SASL_PLAINTEXT":
		s.sasl = true
	case "SASL_SSL":
		s.tls, s.sasl = true, true
	default:
		return errors.New("use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
	}
	return nil
}

func (s *securityProps) setMechanism(value string) error {
	switch value {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		s.mechanism = value
		return nil
	}
	return errors.New("use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
}

var jaasOption = regexp.MustCompile(`(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))`)

// setJAAS takes username and password from a login module's options.
func (s *securityProps) setJAAS(value string) error {
	for _, m := range jaasOption.FindAllStringSubmatch(value, -1) {
		v := m[3]
		if v == "" {
			v = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[2])
		}
		switch m[1] {
		case "username":
			s.user = v
		case "password":
			s.pass = v
		}
	}
	if s.user == "" {
		return errors.New(`want a login module with username="..." password="...";`)
	}
	return nil
}

func checkStoreType(value string) error {
	if strings.EqualFold(value, "PEM") {
		return nil
	}
	return fmt.Errorf("only PEM stores are read; convert yours with `keytool -exportcert -rfc` or openssl and set the type to PEM")
}

func (s *securityProps) options() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if s.tls {
		config, err := s.tlsConfig()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	if s.sasl {
		if s.user == "" {
			return nil, errors.New("security.protocol asks for SASL: set sasl.jaas.config to a login module with username and password")
		}
		switch s.mechanism {
		case "", "PLAIN":
			opts = append(opts, kgo.SASL(plain.Auth{User: s.user, Pass: s.pass}.AsMechanism()))
		case "SCRAM-SHA-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: s.user, Pass: s.pass}.AsSha256Mechanism()))
		case "SCRAM-SHA-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: s.user, Pass: s.pass}.AsSha512Mechanism()))
		}
	}
	return opts, nil
}

func (s *securityProps) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	trust := []byte(s.trustPEM)
	if s.trustFile != "" {
		data, err := os.ReadFile(s.trustFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read ssl.truststore.location: %w", err)
		}
		trust = data
	}
	if len(trust) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(trust) {
			return nil, errors.New("the trust store holds no PEM certificate; convert it to PEM and set ssl.truststore.type=PEM")
		}
	}
	chain, key := []byte(s.certPEM), []byte(s.keyPEM)
	if s.keyFile != "" {
		data, err := os.ReadFile(s.keyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read ssl.keystore.location: %w", err)
		}
		chain, key = data, data
	}
	if len(chain) > 0 {
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil {
			return nil, fmt.Errorf("cannot use the client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if s.skipHostname {
		skipHostnameCheck(config)
	}
	return config, nil
}

// skipHostnameCheck verifies the chain but not the name, which is what an empty
// ssl.endpoint.identification.algorithm means in Kafka.
func skipHostnameCheck(config *tls.Config) {
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: config.RootCAs, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		return err
	}
}
