//! Certificates that others obtained and left as files.
