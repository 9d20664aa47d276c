/**
 * A self-signed certificate for localhost and 127.0.0.1 and its key, FOR TESTS ONLY: the key is public, as you see. Made with
 * openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -addext "subjectAltName=DNS:localhost,IP:127.0.0.1"
 */
export const TEST_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBvTCCAWOgAwIBAgIUX4w93cmHGTbbzAra2CViGZ7qpeQwCgYIKoZIzj0EAwIw
JTEjMCEGA1UEAwwaZm91cmllci1jb21wcmVzcyB0ZXN0IG9ubHkwIBcNMjYxMTIy
MjMwODU1WhgPMjEyNjEwMjkyMzA4NTVaMCUxIzAhBgNVBAMMGmZvdXJpZXItY29t
cHJlc3MgdGVzdCBvbmx5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+3S1AXtF
KrNTxdm39VTTmFwPWknXULYIP/aRcSMxzoEUJWgra+jNAKzqbSTbLCnSl0OJTLTH
LhHUxeSOcj6GVaNvMG0wHQYDVR0OBBYEFHidtwwKFsJdzu/2rbHnQ/Ca6s8uMB8G
A1UdIwQYMBaAFHidtwwKFsJdzu/2rbHnQ/Ca6s8uMA8GA1UdEwEB/wQFMAMBAf8w
GgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAoGCCqGSM49BAMCA0gAMEUCIQCn
4fTe/J8B78R0f4S8iR0vjRNDCs2bgfm299I8ul0wOwIgKzZkjxDxRTTWsSiNhbw3
h3DlMq5OMBWBRhxua2UHqyA=
-----END CERTIFICATE-----
`;

/** The public "private" key of the certificate above. */
export const TEST_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/+/RblEPWqXckS/O
GwY+P28RXFy1AfLCPByi9euoph2hRANCAAT7dLUBe0Uqs1PF2bf1VNOYXA9aSddQ
tgg/9pFxIzHOgRQlaCtr6M0ArOptJNssKdKXQ4lMtMcuEdTF5I5yPoZV
-----END PRIVATE KEY-----
`;
