/// Makes a type the plugin of this component, with the services that its dispatchers name: `export!(Plugin: PortalTrafficServer, JobsServer);`.
///
/// The type is made with `Default` for each call. The only macro of ours: the component's export must stand in the plugin's own crate.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($server:ty),+ $(,)?) => {
        impl $crate::Plugin for $plugin {
            const ROUTES: &'static [$crate::Route<Self>] = &[$($crate::Route::of::<$server>()),+];
        }

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::connector::Guest for Component {
                fn handle(
                    method: ::std::string::String,
                    context: ::std::vec::Vec<u8>,
                    request: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::connector::Status> {
                    $crate::connector::handle::<$plugin>(&method, context, request)
                }
            }

            $crate::connector::export_component!(Component with_types_in $crate::connector);
        };
    };
}
