//! `Egress`: opens connections to the upstream, directly or through a proxy of the environment or an admin, with TLS.

use std::error::Error;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::gemini::name_lookup::NameLookup;
use crate::pool::egress::address::ProxyAddress;

/// A connection that is idle for so long is probed.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;

/// Opens connections to the upstream within a time limit. Shared, because the client copies it for each request.
#[derive(Debug, Clone)]
pub struct Egress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: HttpsConnector<Route>,
    connect_timeout: Duration,
}

/// A proxy, and how connections go through it.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: Intercept,
    /// An HTTP proxy opens a tunnel even to an upstream without TLS, so that no answer is the proxy's own.
    always_tunnels: bool,
}

impl Proxy {
    /// A proxy that the environment names.
    pub fn of_environment(address: Intercept) -> Self {
        Self {
            address,
            always_tunnels: false,
        }
    }

    /// An egress proxy of an admin, whatever `NO_PROXY` says.
    pub fn of_row(address: &ProxyAddress, upstream: &Uri) -> Option<Self> {
        let matcher = Matcher::builder().all(address.with_credential().expose());
        let address = matcher.build().intercept(upstream)?;
        Some(Self {
            address,
            always_tunnels: true,
        })
    }

    pub fn host_and_port(&self) -> Option<String> {
        let authority = self.address.uri().authority()?;
        let host = authority.host();
        Some(match authority.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    }
}

/// The proxy for connections to `upstream` that the environment names.
pub fn proxy_for(upstream: &Uri) -> Option<Intercept> {
    Matcher::from_system().intercept(upstream)
}

/// The credential for a proxy that gets each request itself, as it does for an upstream without TLS.
pub fn proxy_credential(upstream: &Uri, proxy: Option<&Intercept>) -> Option<HeaderValue> {
    let is_plain = upstream.scheme_str() == Some("http");
    proxy
        .filter(|_| is_plain)
        .and_then(Intercept::basic_auth)
        .cloned()
}

impl Egress {
    pub fn new(
        tls: ClientConfig,
        names: NameLookup,
        proxy: Option<Proxy>,
        connect_timeout: Duration,
    ) -> Self {
        let mut http = HttpConnector::new_with_resolver(names.clone());
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_keepalive_interval(Some(KEEPALIVE));
        http.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
        // The protocol is negotiated with the upstream only.
        let mut proxy_tls = tls.clone();
        proxy_tls.alpn_protocols.clear();
        let route = Route {
            to_proxy: HttpsConnector::from((http.clone(), proxy_tls)),
            http,
            names,
            proxy,
        };
        Self(Arc::new(Shared {
            connector: HttpsConnector::from((route, tls)),
            connect_timeout,
        }))
    }
}

impl Service<Uri> for Egress {
    type Response = UpstreamStream<MaybeHttpsStream<RouteStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, upstream: Uri) -> Self::Future {
        let connecting = self.0.connector.clone().call(upstream);
        let connecting = timeout(self.0.connect_timeout, connecting);
        Box::pin(async {
            let Ok(connected) = connecting.await else {
                let late = io::Error::new(io::ErrorKind::TimedOut, "operation timed out");
                return Err(late.into());
            };
            Ok(UpstreamStream::new(connected?))
        })
    }
}

/// Opens TCP connections to the upstream, directly or through a proxy.
#[derive(Debug, Clone)]
struct Route {
    http: HttpConnector<NameLookup>,
    to_proxy: HttpsConnector<HttpConnector<NameLookup>>,
    names: NameLookup,
    proxy: Option<Proxy>,
}

/// A connection to the upstream. Boxed, because the tasks of a connection would have room for its TLS several times.
#[derive(Debug)]
pub struct UpstreamStream<S> {
    stream: Box<S>,
    /// Whether the other end is a proxy that gets each request itself.
    is_forwarded: bool,
}

/// A connection to the upstream below its TLS, itself with TLS where that is a proxy's.
type RouteStream = UpstreamStream<MaybeHttpsStream<TokioIo<TcpStream>>>;

impl<S> UpstreamStream<S> {
    fn new(stream: S) -> Self {
        Self {
            stream: Box::new(stream),
            is_forwarded: false,
        }
    }
}

impl Route {
    async fn connect(mut self, upstream: Uri) -> Result<RouteStream, BoxError> {
        let Some(proxy) = self.proxy.take() else {
            let stream = self.http.call(upstream).await?;
            return Ok(RouteStream::new(stream.into()));
        };
        let Proxy {
            address: proxy,
            always_tunnels,
        } = proxy;
        let address = proxy.uri().clone();
        match address.scheme_str() {
            Some("socks4" | "socks4a") => {
                let upstream = self.socks_target(&address, &upstream).await?;
                let mut socks = SocksV4::new(address, self.http);
                Ok(RouteStream::new(socks.call(upstream).await?.into()))
            }
            Some("socks5" | "socks5h") => {
                let upstream = self.socks_target(&address, &upstream).await?;
                let mut socks = SocksV5::new(address, self.http);
                if let Some((user, password)) = proxy.raw_auth() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                Ok(RouteStream::new(socks.call(upstream).await?.into()))
            }
            _ if always_tunnels || upstream.scheme_str() == Some("https") => {
                let upstream = with_port(&upstream)?;
                let mut through = Tunnel::new(address, self.to_proxy);
                if let Some(credential) = proxy.basic_auth() {
                    through = through.with_auth(credential.clone());
                }
                Ok(RouteStream::new(through.call(upstream).await?))
            }
            _ => Ok(RouteStream {
                is_forwarded: true,
                ..RouteStream::new(self.to_proxy.call(address).await?)
            }),
        }
    }

    /// The upstream as a SOCKS proxy gets it: always with a port, and with an address where the proxy resolves no names.
    async fn socks_target(&self, proxy: &Uri, upstream: &Uri) -> Result<Uri, BoxError> {
        let (scheme, host, port) = place_of(upstream)?;
        let proxy_resolves = matches!(proxy.scheme_str(), Some("socks4a" | "socks5h"));
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let resolved = if proxy_resolves || is_address {
            None
        } else {
            self.names.addresses(host).await?.first().copied()
        };
        let host = match resolved.map(|address| address.ip()) {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            None => host.to_owned(),
        };
        Ok(format!("{scheme}://{host}:{port}").parse()?)
    }
}

fn place_of(upstream: &Uri) -> Result<(&str, &str, u16), BoxError> {
    let host = upstream.host().ok_or("the upstream has no host")?;
    let scheme = upstream.scheme_str().unwrap_or("https");
    let default_port = if scheme == "http" { 80 } else { 443 };
    Ok((scheme, host, upstream.port_u16().unwrap_or(default_port)))
}

/// The upstream as a tunnel gets it.
fn with_port(upstream: &Uri) -> Result<Uri, BoxError> {
    let (scheme, host, port) = place_of(upstream)?;
    Ok(format!("{scheme}://{host}:{port}").parse()?)
}

impl Service<Uri> for Route {
    type Response = RouteStream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<RouteStream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, upstream: Uri) -> Self::Future {
        Box::pin(self.clone().connect(upstream))
    }
}

impl<S: Connection> Connection for UpstreamStream<S> {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected();
        let is_forwarded = self.is_forwarded || connected.is_proxied();
        connected.proxy(is_forwarded)
    }
}

impl<S: Read + Unpin> Read for UpstreamStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for UpstreamStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::gemini::tls;

    /// The credential of `user` with `pass-word`.
    const CREDENTIAL: &str = "Basic dXNlcjpwYXNzLXdvcmQ=";

    fn proxy(listener: &TcpListener, upstream: &Uri) -> Intercept {
        let address = listener.local_addr().unwrap();
        let proxies = Matcher::builder().all(format!("http://user:pass-word@{address}"));
        proxies.build().intercept(upstream).unwrap()
    }

    fn egress(proxy: Intercept) -> Egress {
        let tls = tls::config(&"http://gemini.invalid".parse().unwrap()).unwrap();
        Egress::new(
            tls,
            NameLookup::default(),
            Some(Proxy::of_environment(proxy)),
            Duration::from_secs(10),
        )
    }

    #[tokio::test]
    async fn an_upstream_with_tls_is_reached_through_a_tunnel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream: Uri = "https://gemini.invalid".parse().unwrap();
        let proxy = proxy(&listener, &upstream);
        assert_eq!(proxy_credential(&upstream, Some(&proxy)), None);
        let requested = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 1024];
            let length = connection.read(&mut head).await.unwrap();
            let refusal = b"HTTP/1.1 403 Forbidden\r\n\r\n";
            connection.write_all(refusal).await.unwrap();
            String::from_utf8(head[..length].to_vec()).unwrap()
        });

        let refused = egress(proxy).call(upstream).await;

        assert!(refused.is_err());
        let requested = requested.await.unwrap();
        assert!(
            requested.starts_with("CONNECT gemini.invalid:443 HTTP/1.1\r\n"),
            "{requested}"
        );
        assert!(requested.contains(CREDENTIAL), "{requested}");
    }

    #[tokio::test]
    async fn an_upstream_without_tls_is_reached_by_a_proxy_that_gets_the_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream: Uri = "http://gemini.invalid".parse().unwrap();
        let proxy = proxy(&listener, &upstream);
        let credential = proxy_credential(&upstream, Some(&proxy));

        let stream = egress(proxy).call(upstream).await.unwrap();

        assert!(stream.connected().is_proxied());
        assert_eq!(credential.unwrap(), CREDENTIAL);
        assert!(listener.accept().await.is_ok());
    }
}
