"""The frame of the app: page configuration, standing notice, navigation, the page, the footer."""

import streamlit as st

from skinai.ui import components, navigation, privacy

privacy.keep_uploads_in_memory()
privacy.ask_nobody_outside()
page = st.navigation(navigation.build_pages(), position="top")
st.set_page_config(page_title=f"{page.title} - skinai", page_icon=navigation.ICON, layout="wide")
components.show_notice()
page.run()
components.show_footer()
